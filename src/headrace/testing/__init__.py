"""What Headrace tests itself with, for users' tests too: given/when/then, and real databases for an hour."""
