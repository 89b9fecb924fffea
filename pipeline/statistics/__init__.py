"""Statistics that know no study: bootstrap, power laws, batch means, tables of rates."""
