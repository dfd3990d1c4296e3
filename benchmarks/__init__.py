"""Side by side with other packages: a script for each question, and what the scripts share."""
