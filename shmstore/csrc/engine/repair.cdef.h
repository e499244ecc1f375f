/* A repair in progress, zero at first. lost: entries that were removed. */
struct shms_repair {
    uint64_t part, at, lost;
    uint64_t entries, bytes, sums[7], busy; /* for the used counters, see shms_used_now */
};
