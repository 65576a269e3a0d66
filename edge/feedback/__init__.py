"""What people say of archived parts, and the data set that it becomes."""
