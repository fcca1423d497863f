"""What the HTTP face says about itself: request ids, logs, figures. Never an identifier."""
