/* A compaction in progress: zero at first, then the engine's own (compact.h). */
struct shms_compaction {
    uint64_t moved; /* entries */
    uint64_t rest[511];
};
