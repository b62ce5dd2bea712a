-- When room has to be made, the module whose data grew most gives it. Gaps expire with the readings. Series survive a damaged page.

-- When the newest record arrived, by the hub's clock; 0: before this was kept.
ALTER TABLE chunks ADD COLUMN received_us INTEGER NOT NULL DEFAULT 0;
-- The length of the body; 0: before this was kept.
ALTER TABLE chunks ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

-- All that is read to measure growth, so that it reads no chunk.
CREATE INDEX chunks_by_arrival ON chunks (series_id, received_us, bytes, count);

-- All that a reading needs of its series, a second time: of a series whose row is on a damaged page the readings can be saved.
CREATE INDEX series_by_name ON series (module_id, sensor, unit);

-- Lost numbers whose gaps have expired, as ranges (ranges.rs).
ALTER TABLE deliveries ADD COLUMN lost BLOB NOT NULL DEFAULT x'';
