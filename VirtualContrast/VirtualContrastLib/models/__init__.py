"""Model packages: card and weights of a network, where they are found, how foreign ones are brought in."""
