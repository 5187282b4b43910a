/// How long a server asks to be left alone.
enum RetryAfter {
    /// What asks for more than this many seconds is a mistake of the server's, and counts as `instead`.
    private static let longestBelieved = 3600.0
    private static let instead = 120.0

    /// - Returns: nil where nothing usable is said: no header, a negative time, a date gone by.
    static func delay(_ response: HTTPResponse, epochSeconds: @autoclosure () -> Double) -> Duration? {
        var seconds: Double?
        if let milliseconds = response.header("retry-after-ms").flatMap(Double.init) { seconds = milliseconds / 1000 }
        if seconds == nil, let text = response.header("retry-after") {
            seconds = Double(text) ?? HTTPDate.epochSeconds(text).map { $0 - epochSeconds() }
        }
        guard let seconds, seconds > 0 else { return nil }  // not-a-number neither
        return .seconds(seconds > longestBelieved ? instead : seconds)
    }
}

/// The three forms of a date in HTTP (RFC 9110, section 5.6.7).
enum HTTPDate {
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Seconds since 1970, or nil for anything that is no such date.
    static func epochSeconds(_ text: String) -> Double? {
        let words = text.split { $0 == " " || $0 == "," || $0 == "-" }.map(String.init)
        switch words.count {
        case 6 where words[5] == "GMT":  // Sun, 06 Nov 1994 08:49:37 GMT, or Sunday, 06-Nov-94 08:49:37 GMT
            guard let year = Int(words[3]) else { return nil }
            let century = words[3].count == 2 ? (year < 70 ? 2000 : 1900) : 0
            return seconds(year: year + century, month: words[2], day: words[1], clock: words[4])
        case 5:  // Sun Nov  6 08:49:37 1994
            guard let year = Int(words[4]) else { return nil }
            return seconds(year: year, month: words[1], day: words[2], clock: words[3])
        default: return nil
        }
    }

    private static func seconds(year: Int, month: String, day: String, clock: String) -> Double? {
        let parts = clock.split(separator: ":").compactMap { Int($0) }
        guard let place = months.firstIndex(of: month), let day = Int(day), parts.count == 3, (1...31).contains(day),
            (1601...9999).contains(year), (0...23).contains(parts[0]), (0...59).contains(parts[1]),
            (0...60).contains(parts[2])
        else { return nil }
        return Double(days(year: year, month: place + 1, day: day) * 86400 + parts[0] * 3600 + parts[1] * 60 + parts[2])
    }

    /// Days since 1970-01-01: years begin in March, so that the leap day is their last.
    private static func days(year: Int, month: Int, day: Int) -> Int {
        let shifted = month > 2 ? year : year - 1
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
    }
}
