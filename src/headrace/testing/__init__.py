"""What Headrace tests itself with, for users' tests too: deciders and reactors in sentences, databases for an hour."""
