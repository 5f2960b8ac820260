"""The chaos run: kills, cuts and misbehaving servers around real services, and a checker that counts every letter."""
