DROP TABLE IF EXISTS `wafleet_commands`;
