DROP TABLE IF EXISTS `wafleet_media`;
