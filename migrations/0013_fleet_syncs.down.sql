DROP TABLE IF EXISTS `wafleet_syncs`;
