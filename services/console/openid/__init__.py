"""Signing in with company accounts (OpenID Connect)."""
