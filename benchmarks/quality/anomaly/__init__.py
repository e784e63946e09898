"""How well anomalies are found: NAB's and SKAB's files, scored as their makers do, and by VUS-PR."""
