"""What the console and the candidates' page have in common. Neither knows the other."""
