DROP TABLE IF EXISTS `wafleet_dead_letters`;
