"""Four eyes: what one person asks for and another decides, whoever of the apps carries it out."""
