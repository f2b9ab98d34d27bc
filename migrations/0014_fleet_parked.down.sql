DROP TABLE IF EXISTS `wafleet_parked`;
