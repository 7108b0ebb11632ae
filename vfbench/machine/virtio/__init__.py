"""Split virtqueues, and the vhost worker that serves them."""
