"""The command line: parse, build, call one stage, print its report. No logic."""
