"""One file a stage: find the inputs, call one library function, publish, log."""
