DROP TABLE IF EXISTS `wafleet_snapshot_objects`;
