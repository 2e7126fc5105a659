"""What there is: workspace database, models, images and the content-addressed blob store."""
