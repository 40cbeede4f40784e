"""Messages between the processes of one application: the Bus, its kinds, and what travels on it."""
