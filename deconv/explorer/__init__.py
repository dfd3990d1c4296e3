"""A static web site with a page for every unit of every layer."""
