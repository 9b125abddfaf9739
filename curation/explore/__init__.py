"""A finished or running OUT as a workplace in the browser (`gpa explore`)."""
