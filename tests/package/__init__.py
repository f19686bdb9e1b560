"""What is handed out (files, Debian package, image, compose file), tried where nothing of the sources is."""
