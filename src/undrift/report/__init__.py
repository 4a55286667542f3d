"""Pages of HTML, made from templates."""
