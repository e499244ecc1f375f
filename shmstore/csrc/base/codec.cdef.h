/* How a value is encoded: three bits of the block's lengths word. NAMED: the extension holds the codec's name. */
enum shms_codec { SHMS_CODEC_RAW = 0, SHMS_CODEC_MSGPACK = 1, SHMS_CODEC_PICKLE = 2, SHMS_CODEC_NAMED = 7 };
