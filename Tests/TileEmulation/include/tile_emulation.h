// Sources/CKernels/kernels_amx.c compiled against tiles in plain C, so that it is tested where the CPU has none.
#pragma once
#include "kernels.h"

// The plain variant, with the products of the tiles.
struct kernels tile_emulation_kernels(void);
