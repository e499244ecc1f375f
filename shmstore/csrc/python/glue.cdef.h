/* Puts the hot calls, bound to the handle, into the dict whose id() is given; handle 0: those without
 * a store, and StoreCalls, the base type of stores.
 * 0, or -1 with a Python exception pending. */
int shms_glue_bind(uintptr_t dict, int64_t handle);
/* The callable that is told of deaths and rebuilds: called as f(handle, pid, deaths, rebuilds), no lock held; and
 * the object that stands for an argument not given. Both by their id(). */
int shms_glue_tell(uintptr_t callable, uintptr_t missing);
