"""Programs that pay and are paid; see README.md."""
