#pragma once

// Lane formulas are only fast as one piece: the compiler must not weigh each step. The portable
// back end says otherwise before it includes them; as one piece it would take minutes to compile.
#ifndef SLUICE_INLINE
#define SLUICE_INLINE inline __attribute__((always_inline))
#endif
