"""Files from elsewhere: fetched whole and checked, or not at all."""
