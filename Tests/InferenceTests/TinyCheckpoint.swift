import Inference
import LanguageModel
import TestSupport

/// An engine over the small checkpoint of random weights.
struct TinyCheckpoint {
    let folder: CheckpointFolder
    let checkpoint: Checkpoint

    init(contextLength: Int = 1_024) throws {
        folder = try CheckpointFolder(contextLength: contextLength)
        checkpoint = try Checkpoint(folder: folder.path)
    }

    func engine(
        format: PackedMatrix.Format = .f32, threads: Int = 2, pages: Int = 4_096, rowLimit: Int = 256,
        kernels name: String? = nil
    ) throws -> Engine {
        let pool = ThreadPool(threadCount: threads)
        let model = DecoderModel(
            configuration: checkpoint.configuration,
            weights: try Weights(checkpoint, format: format, pool: pool), kernels: Kernels(variant: name, pool: pool)!)
        var settings = Engine.Settings()
        settings.cacheBytes = pages * KVCache.pageBytes(checkpoint.configuration, model.cacheFormat)
        settings.rowLimit = rowLimit
        return Engine(model: model, settings: settings)
    }
}
