"""One run as a page: a single HTML file that needs no network and no script, with every text in it escaped."""
