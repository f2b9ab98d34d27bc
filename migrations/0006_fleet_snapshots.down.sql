DROP TABLE IF EXISTS `wafleet_snapshot_chunks`;
DROP TABLE IF EXISTS `wafleet_snapshots`;
DROP TABLE IF EXISTS `wafleet_session_keys`;
DROP TABLE IF EXISTS `wafleet_erasures`;
