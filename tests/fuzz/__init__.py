"""What nobody thought of, by the thousand: `make fuzz`. A target is a module here and a line in targets.py."""
