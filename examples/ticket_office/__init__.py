"""A ticket office that Sluice asks over HTTP what to answer to each payment."""
