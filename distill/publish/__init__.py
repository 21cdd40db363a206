"""A student or a data set on its way to the Hub: which files belong, the card, the upload."""
