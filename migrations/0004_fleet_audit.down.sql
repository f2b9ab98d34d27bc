DROP TABLE IF EXISTS `wafleet_audit`;
