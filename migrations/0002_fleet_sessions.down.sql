DROP TABLE IF EXISTS `wafleet_sessions`;
