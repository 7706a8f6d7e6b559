"""What the site shows that nobody writes by hand: made anew for each build, and not in git."""
