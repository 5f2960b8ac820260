"""`kontaktpflege doctor`: what must be right before letters go out, looked at without changing anything."""
