CREATE OR REPLACE VIEW tapeline.candles_1m AS
SELECT * FROM tapeline.candles WHERE interval = '1m';

CREATE OR REPLACE VIEW tapeline.candles_5m AS
SELECT * FROM tapeline.candles WHERE interval = '5m';

CREATE OR REPLACE VIEW tapeline.candles_30m AS
SELECT * FROM tapeline.candles WHERE interval = '30m';

CREATE OR REPLACE VIEW tapeline.candles_4h AS
SELECT * FROM tapeline.candles WHERE interval = '4h';

CREATE OR REPLACE VIEW tapeline.candles_1d AS
SELECT * FROM tapeline.candles WHERE interval = '1d';

CREATE OR REPLACE VIEW tapeline.gap_detection_log AS
SELECT * FROM (
    SELECT * FROM tapeline.gap_events ORDER BY received_at DESC, attempts DESC LIMIT 1 BY exchange, market, symbol, kind, gap_id
) WHERE status != 'merged';
