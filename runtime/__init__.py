"""What every stage runs on: config, the stage contract, storage, execution and the command line."""
