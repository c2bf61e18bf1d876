/* confine.h - the system calls that are left to a confined decoder. Private to lib/image. */
#ifndef IMAGE_CONFINE_H
#define IMAGE_CONFINE_H

#include <linux/audit.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define CONFINE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define CONFINE_ARCH AUDIT_ARCH_AARCH64
#else
#define CONFINE_ARCH 0 /* nothing is allowed: decoding apart is refused */
#endif

/* Memory, its own output, its own end. No files, sockets, processes, signals. */
#define CONFINE_CALLS                                                                          \
    {                                                                                          \
        SYS_write, SYS_exit_group, SYS_exit, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect,   \
            SYS_madvise, SYS_brk, SYS_futex, SYS_rt_sigreturn                                  \
    }

#endif
