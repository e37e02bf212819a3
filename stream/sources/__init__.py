"""Sources: what gives packets to a session, behind one door a kind."""
