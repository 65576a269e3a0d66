"""Live pictures: what the cameras see now and what the network finds in it, for whoever watches."""
