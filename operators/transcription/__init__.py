"""Transcribers: the audio of one utterance to words."""
