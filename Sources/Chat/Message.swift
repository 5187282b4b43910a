/// One turn of a conversation.
package struct Message: Codable, Hashable, Sendable {
    package enum Role: String, Codable, Sendable { case system, user, assistant }

    package var role: Role
    package var content: String

    package init(role: Role, content: String) {
        self.role = role
        self.content = content
    }

    package static func user(_ content: String) -> Message { Message(role: .user, content: content) }
}
